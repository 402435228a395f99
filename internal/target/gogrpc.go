package target

import (
	"errors"
	"fmt"
)

// GoGRPC tells where google.golang.org/grpc serves streams by its own transport: between which instructions, in bytes
// from the start of the executable, and where its structs keep what tells the stream, in bytes.
type GoGRPC struct {
	*GoCode
	Handle uint64 // in (*Server).handleStream: an instruction before which its arguments are in registers still
	Status uint64 // in (*http2Server).writeStatus, which ends an answer
	Conn   uint32 // http2Server.conn
	// The Stream in what a stream is to the server: that itself, a struct in it, or one that it points to; and Stream.id.
	Stream        uint32
	StreamPointer bool
	ID            uint32
}

const (
	grpcHandle    = "google.golang.org/grpc.(*Server).handleStream"
	grpcTransport = "google.golang.org/grpc/internal/transport."
	grpcNew       = grpcTransport + "NewServerTransport"
	grpcBegin     = grpcTransport + "(*http2Server).operateHeaders"
	grpcStatus    = grpcTransport + "(*http2Server).writeStatus"
	grpcStatusOld = grpcTransport + "(*http2Server).WriteStatus" // before gRPC 1.70
)

// GoGRPC finds the places, which the caller must close. It gives nil where the program has no gRPC server.
func (p *Process) GoGRPC() (*GoGRPC, error) {
	code, err := p.GoFuncs(grpcHandle, grpcNew, grpcBegin, grpcStatus, grpcStatusOld)
	if err != nil {
		return nil, err
	}
	if _, ok := code.Funcs[grpcHandle]; !ok {
		code.Close()
		return nil, nil
	}
	g := &GoGRPC{GoCode: code}
	if err := g.find(p.Go, goTypes{Memory(p.PID)}); err != nil {
		code.Close()
		return nil, fmt.Errorf("find where gRPC serves in process %d (%s): %w", p.PID, p.Go.Version, err)
	}
	return g, nil
}

func (g *GoGRPC) find(program *Go, types goTypes) error {
	status, ok := g.Funcs[grpcStatus]
	if !ok {
		status, ok = g.Funcs[grpcStatusOld]
	}
	if !ok {
		return errors.New("it has no (*http2Server).writeStatus")
	}
	var err error
	if g.Handle, err = g.Once(g.Funcs[grpcHandle]); err != nil {
		return err
	}
	if g.Status, err = g.Once(status); err != nil {
		return err
	}
	server, err := g.structOf(program, types, g.Funcs[grpcNew], "conn", "activeStreams")
	if err != nil {
		return err
	}
	g.Conn = server["conn"].offset
	return g.findStream(program, types)
}

// findStream tells where a stream has its number: in itself, or since gRPC 1.70 in a Stream that it embeds.
func (g *GoGRPC) findStream(program *Go, types goTypes) error {
	begin := g.Funcs[grpcBegin]
	stream, err := g.structOf(program, types, begin, "st", "id")
	if err != nil {
		outer, err := g.structOf(program, types, begin, "st", "Stream")
		if err != nil {
			return err
		}
		embedded := outer["Stream"]
		g.Stream = embedded.offset
		stream, g.StreamPointer = types.fields(embedded.typ)
	}
	id, ok := stream["id"]
	if !ok {
		return errors.New("its streams have no number")
	}
	g.ID = id.offset
	return nil
}
