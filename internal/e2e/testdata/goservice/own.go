package main

// own are handlers' functions that no two requests share: what shows up in another's tree is foreign.
var own = []func(){
	own0,
	own1,
	own2,
	own3,
	own4,
	own5,
	own6,
	own7,
	own8,
	own9,
	own10,
	own11,
	own12,
	own13,
	own14,
	own15,
	own16,
	own17,
	own18,
	own19,
	own20,
	own21,
	own22,
	own23,
	own24,
	own25,
	own26,
	own27,
	own28,
	own29,
	own30,
	own31,
	own32,
	own33,
	own34,
	own35,
	own36,
	own37,
	own38,
	own39,
	own40,
	own41,
	own42,
	own43,
	own44,
	own45,
	own46,
	own47,
	own48,
	own49,
}

//go:noinline
func own0() { mix(0) }

//go:noinline
func own1() { mix(1) }

//go:noinline
func own2() { mix(2) }

//go:noinline
func own3() { mix(3) }

//go:noinline
func own4() { mix(4) }

//go:noinline
func own5() { mix(5) }

//go:noinline
func own6() { mix(6) }

//go:noinline
func own7() { mix(7) }

//go:noinline
func own8() { mix(8) }

//go:noinline
func own9() { mix(9) }

//go:noinline
func own10() { mix(10) }

//go:noinline
func own11() { mix(11) }

//go:noinline
func own12() { mix(12) }

//go:noinline
func own13() { mix(13) }

//go:noinline
func own14() { mix(14) }

//go:noinline
func own15() { mix(15) }

//go:noinline
func own16() { mix(16) }

//go:noinline
func own17() { mix(17) }

//go:noinline
func own18() { mix(18) }

//go:noinline
func own19() { mix(19) }

//go:noinline
func own20() { mix(20) }

//go:noinline
func own21() { mix(21) }

//go:noinline
func own22() { mix(22) }

//go:noinline
func own23() { mix(23) }

//go:noinline
func own24() { mix(24) }

//go:noinline
func own25() { mix(25) }

//go:noinline
func own26() { mix(26) }

//go:noinline
func own27() { mix(27) }

//go:noinline
func own28() { mix(28) }

//go:noinline
func own29() { mix(29) }

//go:noinline
func own30() { mix(30) }

//go:noinline
func own31() { mix(31) }

//go:noinline
func own32() { mix(32) }

//go:noinline
func own33() { mix(33) }

//go:noinline
func own34() { mix(34) }

//go:noinline
func own35() { mix(35) }

//go:noinline
func own36() { mix(36) }

//go:noinline
func own37() { mix(37) }

//go:noinline
func own38() { mix(38) }

//go:noinline
func own39() { mix(39) }

//go:noinline
func own40() { mix(40) }

//go:noinline
func own41() { mix(41) }

//go:noinline
func own42() { mix(42) }

//go:noinline
func own43() { mix(43) }

//go:noinline
func own44() { mix(44) }

//go:noinline
func own45() { mix(45) }

//go:noinline
func own46() { mix(46) }

//go:noinline
func own47() { mix(47) }

//go:noinline
func own48() { mix(48) }

//go:noinline
func own49() { mix(49) }

// mix computes, sleeps and waits in an order of its own.
func mix(i int) {
	for j := range [3]struct{}{} {
		switch (i + j) % 3 {
		case 0:
			crunch(2000000)
		case 1:
			doze()
		default:
			receive()
		}
	}
}
