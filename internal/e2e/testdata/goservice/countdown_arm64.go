package main

//go:noinline
func countDown(from uint64) {
	for ; from > 0; from-- {
	}
}
