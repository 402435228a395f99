// The service tells what lies at an offset from its thread's TLS base. It has thread-local variables of C.
package main

/*
static __thread volatile char room[4096];

static void *at(long offset) {
	room[offset & 4095]++;
	return *(void **)((char *)__builtin_thread_pointer() + offset);
}
*/
import "C"

import (
	"fmt"
	"net/http"
)

func main() {
	go http.ListenAndServe("127.0.0.1:0", nil)
	fmt.Println("ready")
	var offset int64
	fmt.Scanln(&offset)
	fmt.Printf("%x\n", uintptr(C.at(C.long(offset))))
	fmt.Scanln()
}
