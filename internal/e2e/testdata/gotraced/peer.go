package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// peer answers what the proxy passes on. It listens on pipes in this process, so that its requests are no records.
type peer chan net.Conn

func (p peer) Accept() (net.Conn, error) { return <-p, nil }
func (p peer) Close() error              { return nil }
func (p peer) Addr() net.Addr            { return &net.UnixAddr{} }

func (p peer) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p <- far
	return near, nil
}

// newProxy starts a peer that takes its time, and gives a proxy of it.
func newProxy() *httputil.ReverseProxy {
	p := make(peer)
	go http.Serve(p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { doze() }))
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "peer"})
	proxy.Transport = &http.Transport{DialContext: p.dial}
	return proxy
}
