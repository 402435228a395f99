"""A shop whose requests spend their time as real services do: computing, sleeping, waiting for a peer."""
import html
import os
import socket
import time

from flask import Flask

app = Flask(__name__)

PRODUCTS = {f'{colour} {thing}': 100 * n for n, (colour, thing) in enumerate(
    (c, t) for c in ('red', 'green', 'blue') for t in ('chair', 'table', 'lamp', 'shelf'))}


@app.get('/')
def catalogue():
    rows = [row(name, price) for _ in range(1000) for name, price in sorted(PRODUCTS.items())]
    return page('Catalogue', '\n'.join(rows))


@app.get('/cart')
def cart():
    prices = load_prices()
    in_stock = ask_warehouse('red chair')
    return page('Cart', row('in stock', in_stock) + row('total', total(prices)))


@app.get('/stock/<product>')
def stock(product):
    return page('Stock', row(product, ask_warehouse(product)))


def page(title, body):
    return f'<h1>{html.escape(title)}</h1>\n<table>\n{body}\n</table>'


def row(name, price):
    return f'<tr><td>{html.escape(name)}</td><td>{money(price)}</td></tr>'


def money(cents):
    euros, cents = divmod(round(cents), 100)
    groups = []
    while euros >= 1000:
        euros, rest = divmod(euros, 1000)
        groups.insert(0, f'{rest:03}')
    return ','.join([str(euros), *groups]) + f'.{cents:02}'


def load_prices():
    read_cache()
    return query_database()


def read_cache():
    time.sleep(0.02)


def query_database():
    time.sleep(0.08)
    return [price for price in PRODUCTS.values() for _ in range(12000)]


def total(prices):
    return sum(discount(price) for price in prices)


def discount(price):
    return price * 0.9 if price > 500 else price


def ask_warehouse(product):
    host, port = os.environ['WAREHOUSE'].split(':')
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(product.encode() + b'\n')
        return int(peer.recv(100))
