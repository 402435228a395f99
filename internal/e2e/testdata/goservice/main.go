// Command goservice has handlers whose functions tell how long they took, in the header X-Truth.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// truth is seconds by function, as the functions measured them.
type truth map[string]float64

func (t truth) part(name string, work func()) {
	start := time.Now()
	work()
	t[name] += time.Since(start).Seconds()
}

var served atomic.Int64

// timed serves a view and tells its truth.
func timed(view func(t truth)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		t := truth{}
		view(t)
		text, err := json.Marshal(t)
		if err != nil {
			panic(err)
		}
		w.Header().Set("X-Truth", string(text))
		io.WriteString(w, "done\n")
	}
}

var views = map[string]func(t truth){
	"/doze":    func(t truth) { t.part("doze", doze) },
	"/compute": func(t truth) { t.part("compute", compute) },
	"/hurry":   func(t truth) { t.part("hurry", hurry) },
	"/drowse":  func(t truth) { t.part("drowse", drowse) },
	"/receive": func(t truth) { t.part("receive", receive) },
	"/send":    func(t truth) { t.part("send", send) },
	"/choose":  func(t truth) { t.part("choose", choose) },
	"/acquire": func(t truth) { t.part("acquire", acquire) },
	"/ask":     func(t truth) { t.part("ask", ask) },
	"/pipe":    func(t truth) { t.part("readPipe", readPipe) },
	"/fan":     func(t truth) { t.part("fan", fan) },
	"/several": several,
	"/grow":    func(t truth) { t.part("grow", grow) },
	"/climb":   func(t truth) { t.part("climb", climb) },
	"/dive":    func(t truth) { t.part("dive", dive) },
	"/migrate": func(t truth) { t.part("migrate", migrate) },
	"/lend":    func(t truth) { t.part("lend", lend) },
	"/inline":  func(t truth) { t.part("inlining", inlining) },
}

func several(t truth) {
	t.part("compute", compute)
	t.part("doze", doze)
	t.part("receive", receive)
	t.part("acquire", acquire)
}

func main() {
	for path, view := range views {
		http.HandleFunc(path, timed(view))
	}
	for i, serve := range own {
		serve := serve
		http.HandleFunc("/own/"+strconv.Itoa(i), timed(func(truth) { serve() }))
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		io.WriteString(w, "hello\n")
	})
	http.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, served.Load()) })
	http.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { doze(); panic("on purpose") })
	http.HandleFunc("/stream", stream)
	http.HandleFunc("/sized", sized)
	http.HandleFunc("/page", page)
	http.HandleFunc("/parts", parts)
	http.HandleFunc("/abandoned", outliveClient)
	http.Handle("/timed", http.TimeoutHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		doze()
		readPipe()
	}), time.Minute, ""))
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	http.HandleFunc("/relay/", relay)
	http.HandleFunc("/pass/", pass)
	http.HandleFunc("/hijack", hijack)
	http.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	http.HandleFunc("/outlive", func(w http.ResponseWriter, r *http.Request) {
		go outlive()
		io.WriteString(w, "started\n")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	if len(os.Args) == 2 && os.Args[1] == "loop" {
		log.Fatal(loop(listener, func(answer func()) { go answer() }))
	}
	if len(os.Args) == 2 && os.Args[1] == "loop_pool" {
		log.Fatal(loop(listener, pool()))
	}
	if len(os.Args) == 2 && os.Args[1] == "match" {
		listener = match(listener)
	}
	if len(os.Args) > 3 {
		listener = balanced{listener}
	}
	if len(os.Args) > 2 { // a certificate and its key
		log.Fatal(http.ServeTLS(listener, nil, os.Args[1], os.Args[2]))
	}
	log.Fatal(serve(listener))
}
