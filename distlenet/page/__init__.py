"""A local web page to draw digits on: the network answers at every stroke, and shows the outputs of its layers.

``server.py`` listens and serves, ``guard.py`` says who may ask, ``app.py`` has the addresses, ``strokes.py``
turns a drawing into ink and finds its digits, ``answer.py`` turns an image into what the page shows;
``templates`` and ``static`` are the page itself. Only this room imports Flask and waitress.
"""
