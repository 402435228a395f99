"""The Django of dj.py behind an ordinary middleware: its async views are called from a thread."""
import dj


def middleware(get_response):
    return lambda request: get_response(request)


dj.django.conf.settings.MIDDLEWARE = [__name__ + '.middleware']
asgi = dj.django.core.asgi.get_asgi_application()
