package main

import "time"

// lend computes in assembly that uses the frame pointer as it likes.
//
//go:noinline
func lend() {
	for end := time.Now().Add(25 * time.Millisecond); time.Now().Before(end); {
		countDown(1 << 18)
	}
}
