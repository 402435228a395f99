"""What a request's number has a thread do: doze_NUMBER."""
import time

SOURCE = '''
def doze_K():
    start = time.perf_counter()
    time.sleep(0.01)
    return {'doze_K': time.perf_counter() - start}
'''
for k in range(24):
    exec(SOURCE.replace('K', str(k)))
