"""Sound: clips, decoding, windows, spectrograms and augmentation.

`clip` defines what a clip is, and `decode` reads it: `layout` finds out from the file's bytes what decodes it
(`mp3_frames`, `wav_header`, `ogg_pages`, `announced`), and `sound_file` opens it: whole, in parts (`byte_view`), or
through `ffmpeg`. `levels` warns where scale or channels cannot be right. `framing` cuts sound into windows,
`spectrogram` turns windows into log-mel levels, and `augmentation` varies training sounds.
"""
