"""The GAN behind a protocol: StyleGAN2 of our own, checkpoints, latent offsets, inversion."""

from gan2shape.generators.discriminator import DiscriminatorConfig as DiscriminatorConfig
from gan2shape.generators.discriminator import StyleGAN2Discriminator as StyleGAN2Discriminator
from gan2shape.generators.invert import Inversion as Inversion
from gan2shape.generators.invert import InvertConfig as InvertConfig
from gan2shape.generators.invert import invert as invert
from gan2shape.generators.load import LoadedGenerator as LoadedGenerator
from gan2shape.generators.load import load_generator as load_generator
from gan2shape.generators.load import save_generator as save_generator
from gan2shape.generators.loaded import latent_rng as latent_rng
from gan2shape.generators.offsets import DirectOffset as DirectOffset
from gan2shape.generators.offsets import MappingTailOffset as MappingTailOffset
from gan2shape.generators.protocol import FeatureExtractor as FeatureExtractor
from gan2shape.generators.protocol import Generator as Generator
from gan2shape.generators.protocol import LatentOffset as LatentOffset
from gan2shape.generators.stylegan2 import StyleGAN2Config as StyleGAN2Config
from gan2shape.generators.stylegan2 import StyleGAN2Generator as StyleGAN2Generator
