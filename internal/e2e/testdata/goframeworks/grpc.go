package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ownService has a unary call /own.Own/N and a stream /own.Own/sN of three answers, the first one before the work.
func ownService() *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: "own.Own", HandlerType: (*any)(nil)}
	for i := range own {
		number := strconv.Itoa(i)
		desc.Methods = append(desc.Methods, grpc.MethodDesc{
			MethodName: number,
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				if err := decode(new(wrapperspb.StringValue)); err != nil {
					return nil, err
				}
				return wrapperspb.String(timed(number)), nil
			},
		})
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: "s" + number, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
					return err
				}
				stream.SendMsg(wrapperspb.String("{}"))
				truth := timed(number)
				stream.SendMsg(wrapperspb.String("{}"))
				return stream.SendMsg(wrapperspb.String(truth))
			},
		})
	}
	return desc
}

func serveGRPC(l net.Listener, options ...grpc.ServerOption) error {
	if len(os.Args) > 3 { // a certificate and its key
		secure, err := credentials.NewServerTLSFromFile(os.Args[2], os.Args[3])
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(secure))
	}
	server := grpc.NewServer(options...)
	server.RegisterService(ownService(), nil)
	return server.Serve(l)
}

// called is a call as its client knows it.
type called struct {
	Path  string
	Truth map[string]float64
}

// callAll calls every method once on a connection, all at the same time, and prints the calls by their trace IDs. Its
// arguments are an address, three digits that tell its trace IDs from others, and "tls" or nothing.
func callAll(args []string) {
	secure := insecure.NewCredentials()
	if len(args) > 2 {
		secure = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	conn, err := grpc.Dial(args[0], grpc.WithTransportCredentials(secure))
	if err != nil {
		log.Fatal(err)
	}
	out := map[string]called{}
	var lock sync.Mutex
	var calls sync.WaitGroup
	for i := range own {
		for _, kind := range []string{"", "s"} {
			path := "/own.Own/" + kind + strconv.Itoa(i)
			id := fmt.Sprintf("00000000-0000-4000-8%s-%012d", args[1], 2*i+len(kind))
			calls.Add(1)
			go func() {
				defer calls.Done()
				truth := call(conn, path, id, kind != "")
				lock.Lock()
				out[id] = called{path, truth}
				lock.Unlock()
			}()
		}
	}
	calls.Wait()
	json.NewEncoder(os.Stdout).Encode(out)
}

func call(conn *grpc.ClientConn, path, id string, streams bool) (truth map[string]float64) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-apm-tracer", id+":1700000000")
	answer := new(wrapperspb.StringValue)
	if !streams {
		if err := conn.Invoke(ctx, path, wrapperspb.String("x"), answer); err != nil {
			log.Fatal(err)
		}
	} else {
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, path)
		if err != nil {
			log.Fatal(err)
		}
		stream.SendMsg(wrapperspb.String("x"))
		for range [3]struct{}{} {
			if err := stream.RecvMsg(answer); err != nil {
				log.Fatal(err)
			}
		}
		stream.CloseSend()
		stream.RecvMsg(new(wrapperspb.StringValue))
	}
	if err := json.Unmarshal([]byte(answer.Value), &truth); err != nil {
		log.Fatal(err)
	}
	return truth
}
