"""Django: views of both kinds, for servers of both kinds."""
import django.conf
import django.core.asgi
import django.core.wsgi
import django.http
import django.urls
import work

django.conf.settings.configure(DEBUG=False, SECRET_KEY='x', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__,
                               WSGI_APPLICATION=__name__ + '.wsgi', LOGGING_CONFIG=None)


def index(request):
    return django.http.HttpResponse('{}')


def view(request, path):
    return django.http.HttpResponse(work.run(path))


async def async_view(request, path):
    return django.http.HttpResponse(await work.arun(path))


urlpatterns = [
    django.urls.path('', index),
    django.urls.path('async/<path:path>', async_view),
    django.urls.path('<path:path>', view),
]

asgi = django.core.asgi.get_asgi_application()
wsgi = django.core.wsgi.get_wsgi_application()

if __name__ == '__main__':
    import sys

    import django.core.management

    sys.modules['dj'] = sys.modules[__name__]
    django.core.management.execute_from_command_line(sys.argv)
