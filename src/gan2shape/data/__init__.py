"""Pictures to train and to measure on: rendered heads with exact truth, packed files, folders of pictures."""

from gan2shape.data.look import DETAILED as DETAILED
from gan2shape.data.look import LOOKS as LOOKS
from gan2shape.data.look import PLAIN as PLAIN
from gan2shape.data.look import Look as Look
from gan2shape.data.model import HeadModel as HeadModel
from gan2shape.data.model import read_packed as read_packed
from gan2shape.data.model import write_packed as write_packed
from gan2shape.data.source import open_pictures as open_pictures
from gan2shape.data.source import read_model as read_model
from gan2shape.data.stored import FolderPictures as FolderPictures
from gan2shape.data.stored import PackedPictures as PackedPictures
from gan2shape.data.synface import SynFace as SynFace
from gan2shape.data.writing import write_synface as write_synface
