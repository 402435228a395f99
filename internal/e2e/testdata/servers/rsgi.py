"""asgi.py's application, as granian's own interface has it."""
import work


class App:
    async def __rsgi__(self, scope, protocol):
        body = await work.arun(scope.path) if len(scope.path) > 1 else '{}'
        protocol.response_str(200, [('content-type', 'application/json')], body)


app = App()
