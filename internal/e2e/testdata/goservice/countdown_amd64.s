#include "textflag.h"

// func countDown(from uint64)
TEXT ·countDown(SB), NOSPLIT, $64-8
	MOVQ from+0(FP), BP

next:
	SUBQ $1, BP
	JNZ  next
	RET
