"""The HTTP face of a hub: ``app.create_app`` makes the WSGI application, ``serve.run`` serves it."""
