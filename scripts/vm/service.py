"""The service of a test machine. Each view answers with what the functions below it took, by their own clock."""
import time

from flask import Flask, g, jsonify

app = Flask(__name__)


def took(name, begun):
    g.setdefault('truth', {})[name] = time.perf_counter() - begun


@app.route('/wait')
def wait():
    doze()
    return jsonify(g.truth)


def doze():
    begun = time.perf_counter()
    time.sleep(0.2)
    took('doze', begun)


@app.route('/work')
def work():
    toil()
    return jsonify(g.truth)


def toil():
    begun = time.perf_counter()
    total = 0
    while time.perf_counter() - begun < 0.5:
        total += 1
    took('toil', begun)


@app.route('/both')
def both():
    weigh()
    descend(60)
    return jsonify(g.truth)


def weigh():
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.3:
        pass
    took('weigh', begun)


def descend(depth):
    """Sleeps below more frames than one call of the stack walk takes."""
    if depth:
        return descend(depth - 1)
    return linger()


def linger():
    begun = time.perf_counter()
    time.sleep(0.15)
    took('linger', begun)
