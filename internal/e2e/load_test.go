package e2e

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestNoneLostUnderLoad compares the number of records with the service's own count.
func TestNoneLostUnderLoad(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		records := underLoad(t, s, 4)
		checkSums(t, records...)
		byID(t, records)
	})
}

// underLoad has wrk ask for all that the service can do on some connections, and compares the number of records with the
// service's own count.
func underLoad(t *testing.T, s *Service, connections int) []*Record {
	t.Helper()
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("no wrk here")
	}
	a := attach(t, s.PID)
	out, err := exec.Command("wrk", "-t", "1", "-c", strconv.Itoa(connections), "-d", "2s", "http://"+s.Address+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	served, asked := settled(t, s, a)
	records := a.exactly(t, served+asked)
	told := a.summary(t)
	if told.Records != served+asked || told.QueueFull+told.WriteFailed+told.Late > 0 {
		t.Errorf("%d requests, and the agent says: %+v", served+asked, told)
	}
	complete := regexp.MustCompile(`(\d+) requests in`).FindSubmatch(out)
	if n, _ := strconv.Atoi(string(complete[1])); n == 0 || n > served {
		t.Errorf("wrk counts %d requests, the service %d", n, served)
	}
	t.Logf("%d requests", served)
	checkNothingLost(t, told)
	return records
}

// settled gives how many requests the service has counted once all of them have records, and how often it was asked:
// those that wrk left open may still be on their way.
func settled(t *testing.T, s *Service, a *Agent) (served, asked int) {
	t.Helper()
	for before := -1; ; before = served {
		var err error
		if served, err = strconv.Atoi(s.get(t, "/count").Text); err != nil {
			t.Fatal(err)
		}
		asked++
		if served == before {
			return served, asked
		}
		a.await(t, served+asked)
	}
}

// checkNothingLost allows for stacks that found no room, which records tell, but not for transfers.
func checkNothingLost(t *testing.T, s summary) {
	t.Helper()
	for cause, n := range s.LostEvents {
		if n > 0 && !strings.Contains(cause, "stacks") {
			t.Errorf("%d %s lost", n, cause)
		}
	}
}
