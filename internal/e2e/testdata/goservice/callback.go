//go:build cgo

package main

import "example.com/goservice/callback"

func init() {
	views["/callback"] = func(t truth) {
		t.part("Spin", callback.Spin)
		t.part("Call", func() {
			callback.Call(func() {
				t.part("doze", doze)
				t.part("compute", compute)
				t.part("Spin", callback.Spin)
			})
		})
	}
}
