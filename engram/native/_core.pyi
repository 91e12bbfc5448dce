# -- the module itself --

__version__: str
