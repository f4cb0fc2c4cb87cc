#!/usr/bin/python3
"""Makes the sample set: the ten digits spoken by espeak-ng and drawn in many fonts, paired at random within a class.

    apt-get install --no-install-recommends python3-numpy python3-pil espeak-ng fonts-averia-serif-gwf fonts-beteckna \
         fonts-breip fonts-bwht fonts-cabin fonts-cantarell fonts-comic-neue fonts-courier-prime \
         fonts-crosextra-caladea fonts-crosextra-carlito fonts-dancingscript fonts-dejavu-core fonts-dkg-handwriting \
         fonts-dosis fonts-ebgaramond-extra fonts-ecolier-court fonts-freefont-ttf fonts-hack fonts-humor-sans \
         fonts-inconsolata fonts-isabella fonts-junction fonts-jura fonts-karla fonts-kristi fonts-lato \
         fonts-league-spartan fonts-leckerli-one fonts-liberation fonts-linuxlibertine fonts-lobster fonts-okolaks \
         fonts-oldstandard fonts-open-sans fonts-play fonts-quicksand fonts-roboto-unhinted fonts-rufscript \
         fonts-sil-gentium fonts-sjfonts fonts-tomsontalks fonts-urw-base35 fonts-vollkorn
    ./make_digits.py digits

Writes OUT/{train,test}/{audio,visual,labels}.npy. Voices and fonts of the test split do not occur in the training
split.
The same packages (Debian 12) give the same bytes.
"""
import io
import os
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SEED = 20250116
ROWS = {"train": 2000, "test": 400}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

# A voice is an accent and a variant; the variant is the speaker, so the splits share accents and no speaker.
ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
VARIANTS = {
    "train": [
        "m1", "m2", "m4", "m5", "m6", "m8", "f1", "f3", "f4", "croak", "whisper", "klatt", "klatt4", "Alex", "Alicia",
        "Andy", "Diogo", "Gene", "Hugo", "Lee", "Mario", "Michael", "Mike", "Storm", "adam", "antonio", "aunty",
        "belinda", "boris", "david", "edward", "grandpa", "iven", "iven3", "kaukovalta", "marcelo", "max", "michel",
        "miguel", "norbert", "pablo", "pedro", "quincy", "rob", "steph", "travis"
    ],
    "test": [
        "m3", "m7", "f2", "f5", "klatt2", "Andrea", "Annie", "Denis", "Jacky", "Marco", "anika", "benjamin", "caleb",
        "ed", "grandma", "iven2", "john", "linda", "paul", "robert", "sandro", "shelby", "steph3", "victor", "zac"
    ],
}
FONTS = {
    "train": [
        "AveriaSerifGWF-Regular.ttf", "BecauseWeBuild-Regular.otf", "BecauseWeConnect-Regular.otf",
        "BecauseWeLearn-Regular.otf", "Beteckna.ttf", "C059-Italic.otf", "Breip.ttf", "Cantarell-Thin.otf",
        "ComicNeue-Regular.otf", "Courier Prime.otf", "Caladea-Italic.ttf", "Delphine.ttf", "DancingScript-Regular.otf",
        "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "Dosis-Light.otf", "EBGaramond12-Italic.ttf",
        "Ecolier-court.ttf", "FreeSerifBold.ttf", "FreeMono.ttf", "Gentium-I.ttf", "Humor-Sans.ttf", "Isabella.ttf",
        "Junction.otf", "Jura-Light.otf", "Karla-ExtraBold.otf", "Lato-Black.ttf", "Lato-ThinItalic.ttf",
        "LeckerliOne-Regular.ttf", "LiberationSansNarrow-Regular.ttf", "LinLibertine_R.otf",
        "NimbusRoman-BoldItalic.otf", "OldStandard-Regular.ttf", "OpenSans-CondLight.ttf", "Kristi.ttf",
        "Quicksand-Light.ttf", "Roboto-MediumItalic.ttf", "SteveHand.ttf", "TomsonTalks.ttf", "URWBookman-Demi.otf",
        "dkg.ttf"
    ],
    "test": [
        "BecauseWeCreate-Regular.otf", "BecauseWeMentor-Regular.otf", "Cabin-Bold.otf", "Carlito-Regular.ttf",
        "Hack-Bold.ttf", "Inconsolata.otf", "P052-Roman.otf", "LeagueSpartan-Bold.otf", "Play-Regular.ttf",
        "Rufscript010.ttf", "URWGothic-Book.otf", "Vollkorn-Black.ttf", "Z003-MediumItalic.otf", "lobster.otf",
        "okolaksRegular.ttf", "BecauseWeOrganize-Regular.otf"
    ],
}

RATE, FRAME, HOP, BANDS = 22050, 512, 220, 64
SIDE, CANVAS = 20, 120
# How much a digit varies: so that a tenth of the labels is too little for triplets alone. README.md beside this file
# has the figures.
SNR = (20, 40)  # of the speech over the noise, dB
FILL = (0.75, 0.95)  # of the image's side
ANGLE, SHIFT = 5, 0.4  # deviations, in degrees and pixels
OCCLUDE = 0.1  # share of the images with a bar across
NOISE = (0.01, 0.06)  # deviation, of the full contrast


def mel_filters():
    mel = lambda f: 2595 * np.log10(1 + f / 700)
    edges = 700 * (10**(np.linspace(mel(60), mel(8000), BANDS + 2) / 2595) - 1)
    bins = np.arange(FRAME // 2 + 1) * RATE / FRAME
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    # Low bands are narrower than a bin: such a band takes the bin nearest to its centre.
    empty = filters.sum(1) == 0
    filters[empty, np.abs(bins - edges[1:-1, None]).argmin(1)[empty]] = 1
    return filters / filters.sum(1, keepdims=True)


FILTERS = mel_filters()


def speak(word, voice, speed, pitch):
    said = subprocess.run(
        ["espeak-ng", "-v", voice, "-s",
         str(speed), "-p", str(pitch), "-a", "100", "--stdout", word], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        check=True)
    # The header of a stream has no length: the samples are what follows its 44 bytes.
    assert wave.open(io.BytesIO(said.stdout)).getframerate() == RATE
    return np.frombuffer(said.stdout, "<i2", offset=44).astype(np.float64) / 32768


def hear(sound, draw):
    """Trims the sound, plays it in a room through some microphone, adds noise.

    Gives the mean and the deviation over time of its log-mel bands.
    """
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    sound = sound[loud[0]:loud[-1] + 1]
    echo = draw.normal(size=int(RATE * 0.25)) * np.exp(-np.arange(int(RATE * 0.25)) / (RATE * draw.uniform(0.01, 0.06)))
    echo *= draw.uniform(0.1, 0.4) / np.sqrt((echo**2).sum())
    echo[0] += 1
    size = len(sound) + len(echo) - 1
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(echo, size)
    octave = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 60) / 1000)
    colour = draw.normal(0, 1.5) * octave  # dB
    for ripple in (1, 2, 3):
        colour += draw.normal(0, 1) * np.cos(np.pi * ripple * (octave + 4) / 7.5 + draw.uniform(0, 2 * np.pi))
    sound = np.fft.irfft(spectrum * 10**(colour / 20), size)
    noise = np.fft.rfft(draw.normal(size=size)) * 10**(draw.uniform(-6, 1) * octave / 20)
    noise = np.fft.irfft(noise, size)
    sound = sound / sound.std() + noise / noise.std() * 10**(-draw.uniform(*SNR) / 20)
    frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[::HOP] * np.hanning(FRAME)
    bands = np.log(np.abs(np.fft.rfft(frames, axis=1))**2 @ FILTERS.T + 1e-3)
    return np.concatenate([bands.mean(0), bands.std(0)])


def draw_digit(digit, font, draw):
    """The digit in the middle of a canvas, moved and scaled to SIDE x SIDE.

    Then blur, at times a bar across it, contrast and noise.
    """
    box = font.getbbox(str(digit), anchor="ls")
    canvas = Image.new("L", (CANVAS, CANVAS), 0)
    middle = (CANVAS / 2 - (box[0] + box[2]) / 2, CANVAS / 2 - (box[1] + box[3]) / 2)
    ImageDraw.Draw(canvas).text(middle, str(digit), font=font, fill=255, anchor="ls")
    height, width = box[3] - box[1], box[2] - box[0]
    scale = max(height, 1.3 * width) / (SIDE * draw.uniform(*FILL))
    angle, shear = np.deg2rad(draw.normal(0, ANGLE)), draw.normal(0, 0.1)
    stretch = np.exp(draw.normal(0, 0.08))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_canvas = rotate @ np.array([[1, shear], [0, 1]]) @ np.diag([stretch, 1 / stretch]) * scale
    # Drawn at twice the size and averaged: PIL samples a point a pixel.
    fine = 2
    shift = np.array([CANVAS / 2, CANVAS / 2]) - to_canvas @ (SIDE / 2 + draw.normal(0, SHIFT, 2))
    coefficients = [
        to_canvas[0, 0] / fine, to_canvas[0, 1] / fine, shift[0], to_canvas[1, 0] / fine, to_canvas[1, 1] / fine,
        shift[1]
    ]
    canvas = canvas.filter(ImageFilter.GaussianBlur(max(0.0, scale / fine / 2)))
    image = canvas.transform((SIDE * fine, SIDE * fine), Image.AFFINE, coefficients, Image.BILINEAR)
    image = np.asarray(image.filter(ImageFilter.GaussianBlur(fine * draw.uniform(0.7, 1.3))), np.float64)
    image = image.reshape(SIDE, fine, SIDE, fine).mean((1, 3)) / 255
    image *= draw.uniform(0.5, 1) / max(image.max(), 0.2)
    if draw.uniform() < OCCLUDE:
        at, thick = draw.integers(3, SIDE - 4), draw.integers(1, 4)
        bar = np.s_[at:at + thick, :] if draw.uniform() < 0.5 else np.s_[:, at:at + thick]
        image[bar] = draw.uniform(0, 0.8)
    image += draw.uniform(0, 0.2) + draw.normal(0, draw.uniform(*NOISE), image.shape)
    return np.round(255 * image.clip(0, 1)).astype(np.uint8).ravel()


def font_file(name):
    for folder, _, files in sorted(os.walk("/usr/share/fonts")):
        if name in files:
            return os.path.join(folder, name)
    sys.exit(f"font {name} is missing: install the packages named at the top")


def make(split, out):
    draw = np.random.default_rng([SEED, split == "test"])
    fonts = [ImageFont.truetype(font_file(name), 72, layout_engine=ImageFont.Layout.BASIC) for name in FONTS[split]]
    labels = draw.permutation(np.arange(ROWS[split]) % len(WORDS))
    said = [(WORDS[y], f"{draw.choice(ACCENTS)}+{draw.choice(VARIANTS[split])}", draw.integers(110, 260),
             draw.integers(10, 90)) for y in labels]
    with ThreadPoolExecutor(2) as pool:
        sounds = list(pool.map(lambda s: speak(*s), said))
    audio = np.array([hear(sound, draw) for sound in sounds], np.float16)
    visual = np.array([draw_digit(y, fonts[draw.integers(len(fonts))], draw) for y in labels])
    folder = os.path.join(out, split)
    os.makedirs(folder, exist_ok=True)
    for name, values in (("audio", audio), ("visual", visual), ("labels", labels.astype(np.int32))):
        np.save(os.path.join(folder, name + ".npy"), values)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_digits.py OUT")
    for name in ROWS:
        make(name, sys.argv[1])
