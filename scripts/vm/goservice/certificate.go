package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"time"
)

// writeCertificate writes one for 127.0.0.1, with its key, into one file. A test machine may have no clock.
func writeCertificate(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err1 := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	var text bytes.Buffer
	err3 := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	err4 := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return errors.Join(err1, err2, err3, err4, os.WriteFile(path, text.Bytes(), 0o600))
}
