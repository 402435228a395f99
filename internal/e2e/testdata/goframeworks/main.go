// Command goframeworks serves /own/N with the Go framework that its argument names, or gRPC's /own.Own/N. Its other files
// are goservice's, by an overlay.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/labstack/echo/v4"
	"github.com/valyala/fasthttp"
	"google.golang.org/grpc"
)

const header = "X-Truth"

// timed calls a function of own and tells how long it took, in seconds by its name.
func timed(number string) string {
	n, err := strconv.Atoi(number)
	if err != nil {
		panic(err)
	}
	start := time.Now()
	own[n]()
	text, _ := json.Marshal(map[string]float64{"own" + number: time.Since(start).Seconds()})
	return string(text)
}

var servers = map[string]func(net.Listener) error{
	"gin": func(l net.Listener) error {
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		router.Use(gin.Recovery())
		router.GET("/own/:n", func(c *gin.Context) {
			c.Header(header, timed(c.Param("n")))
			c.String(http.StatusOK, "done\n")
		})
		return http.Serve(l, router)
	},
	"echo": func(l net.Listener) error {
		e := echo.New()
		e.HideBanner, e.HidePort, e.Listener = true, true, l
		e.GET("/own/:n", func(c echo.Context) error {
			c.Response().Header().Set(header, timed(c.Param("n")))
			return c.String(http.StatusOK, "done\n")
		})
		return e.Start("")
	},
	"chi": func(l net.Listener) error {
		router := chi.NewRouter()
		router.Get("/own/{n}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(header, timed(chi.URLParam(r, "n")))
			io.WriteString(w, "done\n")
		})
		return http.Serve(l, router)
	},
	"fasthttp": func(l net.Listener) error {
		return fasthttp.Serve(l, func(c *fasthttp.RequestCtx) {
			c.Response.Header.Set(header, timed(string(c.Path()[len("/own/"):])))
			c.SetBodyString("done\n")
		})
	},
	"fiber": func(l net.Listener) error {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/own/:n", func(c *fiber.Ctx) error {
			c.Set(header, timed(c.Params("n")))
			return c.SendString("done\n")
		})
		return app.Listener(l)
	},
	"grpc":         func(l net.Listener) error { return serveGRPC(l) },
	"grpc_workers": func(l net.Listener) error { return serveGRPC(l, grpc.NumStreamWorkers(4)) },
}

func main() {
	if os.Args[1] == "call" {
		callAll(os.Args[2:])
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	log.Fatal(servers[os.Args[1]](listener))
}
