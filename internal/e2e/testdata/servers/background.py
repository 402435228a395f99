"""The application of wsgi.py, beside a thread that is there before a server forks."""
import threading

from wsgi import app

threading.Thread(target=threading.Event().wait, daemon=True).start()
