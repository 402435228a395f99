/* A server whose threads are none of the interpreter's: they enter it for each request, and leave it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener;
static void (*handler)(const char *path, char *answer);

static void *serve(void *unused)
{
	char head[4096], path[256], answer[4096];

	for (;;) {
		int connection = accept(listener, NULL, NULL);
		ssize_t size = read(connection, head, sizeof(head) - 1);

		if (size > 0) {
			head[size] = 0;
			if (sscanf(head, "GET %255s", path) == 1) {
				handler(path, answer);
				size = write(connection, answer, strlen(answer));
			}
		}
		close(connection);
	}
	return unused;
}

void start(int fd, int threads, void (*handle)(const char *, char *))
{
	listener = fd;
	handler = handle;
	while (threads-- > 0) {
		pthread_t thread;

		pthread_create(&thread, NULL, serve, NULL);
	}
}
