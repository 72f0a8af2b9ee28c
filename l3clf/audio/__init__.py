"""Sound: clips, decoding, windows, spectrograms and augmentation.

`clip` defines what a clip is, `decode` reads it, `levels` tells what cannot be right about its scale and channels,
`framing` cuts it into windows, `spectrogram` turns windows into log-mel levels, and `augmentation` varies training
sounds.
"""
