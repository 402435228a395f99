// Command hello is a web service of Go that does next to nothing for a request, in clear and with TLS, by HTTP/1.1 and
// HTTP/2. It listens on ports of its own choice and prints them.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello, world") }

// wait is a request that waits for others.
func wait(w http.ResponseWriter, r *http.Request) {
	answer := make(chan string)
	time.AfterFunc(time.Second, func() { answer <- "hello, late world" })
	fmt.Fprintln(w, <-answer)
}

func main() {
	http.HandleFunc("/", hello)
	http.HandleFunc("/wait", wait)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate()}}}
	clear, encrypted := listen(), listen()
	fmt.Println("ports", clear.Addr().(*net.TCPAddr).Port, encrypted.Addr().(*net.TCPAddr).Port)
	go func() { log.Fatal(server.ServeTLS(encrypted, "", "")) }()
	log.Fatal(server.Serve(clear))
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return l
}

// certificate is one that nobody need trust.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}
}
