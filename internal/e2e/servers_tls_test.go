package e2e

// tlsServers end TLS themselves, in ssl's sockets or between two memory buffers.
var tlsServers = []server{
	{
		name: "gunicorn sync", pip: "gunicorn",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT --certfile CERT --keyfile KEY wsgi:app",
		paths: "/work",
	},
	{
		name: "gunicorn gthread", pip: "gunicorn",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 --certfile CERT --keyfile KEY wsgi:app",
		paths: "/work /pool~",
	},
	{
		name: "gunicorn gevent", pip: "gunicorn gevent packaging",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k gevent --certfile CERT --keyfile KEY wsgi:app",
		paths: "/work /spawn~",
	},
	{
		name: "gunicorn asgi", pip: "gunicorn>=25",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k asgi --certfile CERT --keyfile KEY asgi:app",
		paths: "/await /gather",
	},
	{
		name: "gevent.pywsgi", pip: "gevent",
		args:  "serve.py gevent_pywsgi PORT CERT KEY",
		paths: "/work",
	},
	{
		name: "eventlet.wsgi", pip: "eventlet",
		args:  "serve.py eventlet_wsgi PORT CERT KEY",
		paths: "/work",
	},
	{
		name: "uvicorn h11", pip: "uvicorn h11",
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning --ssl-certfile CERT --ssl-keyfile KEY asgi:app",
		paths: "/await /gather /tothread",
	},
	{
		name: "uvicorn uvloop", pip: "uvicorn uvloop httptools",
		args:  "BIN/uvicorn --port PORT --loop uvloop --http httptools --log-level warning --ssl-certfile CERT --ssl-keyfile KEY asgi:app",
		paths: "/await /gather /tothread",
	},
	{
		name: "hypercorn", pip: "hypercorn",
		args:  "BIN/hypercorn -b 127.0.0.1:PORT --certfile CERT --keyfile KEY asgi:app",
		paths: "/await /gather",
	},
	{
		name: "hypercorn uvloop", pip: "hypercorn uvloop",
		args:  "BIN/hypercorn -k uvloop -b 127.0.0.1:PORT --certfile CERT --keyfile KEY asgi:app",
		paths: "/await",
	},
	{
		name: "daphne", pip: "daphne Twisted[tls]",
		args:  "BIN/daphne -e ssl:PORT:privateKey=KEY:certKey=CERT:interface=127.0.0.1 asgi:app",
		paths: "/await /gather",
	},
	{
		name: "aiohttp", pip: "aiohttp",
		args:  "aio.py PORT CERT KEY",
		paths: "/await /gather",
	},
	{
		name: "tornado", pip: "tornado",
		args:  "torn.py PORT CERT KEY",
		paths: "/await /gather",
	},
	{
		name: "Werkzeug", pip: "werkzeug",
		args:  "serve.py werkzeug PORT CERT KEY",
		paths: "/work",
	},
	{
		name: "cheroot", pip: "cheroot",
		args:  "serve.py cheroot PORT CERT KEY",
		paths: "/work",
	},
	{
		name: "cheroot pyOpenSSL", pip: "cheroot pyOpenSSL",
		args:  "serve.py cheroot PORT CERT KEY pyopenssl",
		paths: "/work",
	},
	{
		name: "wsgiref", pip: "",
		args:  "serve.py wsgiref PORT CERT KEY",
		paths: "/work",
	},
}
