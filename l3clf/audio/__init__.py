"""Sound: clips, decoding, windows, spectrograms and augmentation.

`clip` says what a clip is, `decode` reads it, `framing` cuts it into windows, `spectrogram` turns a window into
levels, `augmentation` makes more training sound out of what there is.
"""
