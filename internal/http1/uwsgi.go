package http1

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
)

// A proxy may speak uWSGI's own protocol with a server (uwsgi-docs, Protocol.rst): a packet of variables as CGI has them
// in place of a head, then the body; the answer is HTTP. A packet begins with a modifier, 16 bits of length, little
// endian, and a second modifier; for requests both are 0. No request of HTTP begins like this.
const packetHead = 4

// packetPart takes bytes of a packet.
func (r *reader) packetPart(p []byte) (n int, head bool) {
	for n < len(p) {
		want := packetHead
		if len(r.packet) >= packetHead {
			want += int(binary.LittleEndian.Uint16(r.packet[1:]))
		}
		part := p[n:min(len(p), n+want-len(r.packet))]
		r.packet = append(r.packet, part...)
		n += len(part)
		switch {
		case len(r.packet) < want:
		case want == packetHead && !r.plausible():
			r.state, r.packet = readSkip, nil
			return n, false
		case want > packetHead:
			head = r.variables(r.packet[packetHead:])
			if r.packet = nil; !head {
				r.state = readSkip
			}
			return n, head
		}
	}
	return n, false
}

// plausible tells whether the head of a packet is that of a request.
func (r *reader) plausible() bool {
	return r.packet[0] == 0 && r.packet[3] == 0 && binary.LittleEndian.Uint16(r.packet[1:]) > 0
}

// variables takes those of a packet, and tells whether they make a request.
func (r *reader) variables(p []byte) bool {
	var address, port string
	router := false
	for len(p) > 0 {
		var name, value []byte
		var ok bool
		if name, p, ok = sized(p); ok {
			value, p, ok = sized(p)
		}
		if !ok {
			return false
		}
		switch string(name) {
		case "REQUEST_METHOD":
			r.head.Set(FieldMethod, value)
		case "REQUEST_URI":
			r.head.Set(FieldTarget, value)
		case "SERVER_PROTOCOL":
			r.head.Set(fieldProto, value)
		case "CONTENT_LENGTH":
			if len(value) > 0 {
				r.framing.header([]byte("Content-Length"), value, false)
			}
		case "HTTP_HOST":
			r.head.Header([]byte("Host"), value)
		case "HTTP_TRACEPARENT":
			r.head.Header([]byte("traceparent"), value)
		case "HTTP_X_APM_TRACER":
			r.head.Header([]byte("X-APM-TRACER"), value)
		case "UWSGI_ROUTER":
			router = true
		case "REMOTE_ADDR":
			address = string(value)
		case "REMOTE_PORT":
			port = string(value)
		}
	}
	r.client = peer(address, port)
	if router { // it prints the port as it lies in memory, in the network's order (uWSGI 2.0.31, plugins/http/http.c)
		r.client = netip.AddrPortFrom(r.client.Addr(), bits.ReverseBytes16(r.client.Port()))
	}
	return r.saysRequest()
}

// sized takes a text that follows its length.
func sized(p []byte) (text, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(p))
	if p = p[2:]; len(p) < n {
		return nil, nil, false
	}
	return p[:n], p[n:], true
}

// saysRequest tells whether what was gathered would make a request line.
func (r *reader) saysRequest() bool {
	proto := r.head.bytes(fieldProto)
	if len(proto) != protoLen || r.head.len(FieldMethod) == 0 || r.head.len(FieldTarget) == 0 {
		return false
	}
	for i, c := range proto {
		if !matchesProto(i, c) {
			return false
		}
	}
	for _, c := range r.head.bytes(FieldMethod) {
		if !isToken[c] {
			return false
		}
	}
	return true
}

// peer gives an address and a port as a proxy tells them; not valid where it does not.
func peer(address, port string) netip.AddrPort {
	at, err := netip.ParseAddr(address)
	number, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at, uint16(number))
}
