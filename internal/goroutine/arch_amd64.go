package goroutine

// framePointerBelow tells that a function's frame pointer lies a word below its stack pointer
// (Go src/cmd/compile/abi-internal.md, amd64).
const framePointerBelow = false
