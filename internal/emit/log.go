package emit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrReaderGone tells that nobody reads what is written any more: the other end of a pipe or socket was closed.
var ErrReaderGone = errors.New("reader of the records has gone")

const (
	defaultLimit = 16 << 20
	flushAt      = 64 << 10    // so much is written at once
	wakeAt       = 8 * flushAt // so much waits for no Flush: each waking of the writer costs a switch or two
	room         = 16 << 10    // beyond that, for a line that is begun before: few are longer
	keepBuffers  = 16          // that were written, for others
	reportEvery  = time.Minute
)

// LogOptions tell where a Log writes.
type LogOptions struct {
	Path   string      // file to append to, created with mode 0640; empty stands for standard output
	Limit  int         // bytes that may wait to be written, 16 MiB where it is 0
	Report func(error) // called once a minute at most while records are being lost; may be nil
}

// LogStats counts records by what became of them. Those that still wait are in none of the counts.
type LogStats struct {
	Written uint64
	Full    uint64 // dropped because the queue was full: the disk or the reader is too slow
	Failed  uint64 // dropped because they could not be written
	Late    uint64 // dropped because the log was closed
}

// Dropped is the number of all records that were not written.
func (s LogStats) Dropped() uint64 { return s.Full + s.Failed + s.Late }

// Log takes records as lines and writes them on a goroutine of its own, so that neither a full disk nor a slow reader
// holds up the caller: what cannot be kept is dropped and counted, always in whole records.
//
// Its methods may be called by several goroutines. Several processes may append to the same file: see destination.
type Log struct {
	report func(error)
	now    func() time.Time
	limit  int
	broken chan struct{} // closed when the reader has gone
	done   chan struct{} // closed when the writer has ended

	mu        sync.Mutex
	work      sync.Cond // pending, reopen or closing has changed
	pending   [][]byte  // lines that wait, in buffers of some flushAt bytes
	size      int       // bytes in pending
	spare     [][]byte  // buffers that were written
	records   uint64    // in pending
	inFlight  uint64    // taken by the writer and not yet counted
	reopen    bool
	closing   bool
	abandoned bool // Close gave up waiting: the writer's results count no more
	gone      bool // broken is closed
	stats     LogStats

	// For the writer alone.
	dest       *destination
	reported   time.Time
	reportedAt LogStats
}

// OpenLog opens the destination of records. The error names the file and why it could not be opened.
func OpenLog(opt LogOptions) (*Log, error) {
	dest, err := openDestination(opt.Path)
	if err != nil {
		return nil, err
	}
	l := newLog(dest, opt)
	go l.write()
	return l, nil
}

func newLog(dest *destination, opt LogOptions) *Log {
	l := &Log{
		report: opt.Report,
		now:    time.Now,
		limit:  opt.Limit,
		broken: make(chan struct{}),
		done:   make(chan struct{}),
		dest:   dest,
	}
	l.work.L = &l.mu
	if l.report == nil {
		l.report = func(error) {}
	}
	if l.limit == 0 {
		l.limit = defaultLimit
	}
	dest.watch(l.readerGone)
	return l
}

// Queue takes one record, which need not be written before Flush, and tells whether it did. line appends it, a line with
// its newline, to what waits. Queue never waits for a write.
func (l *Log) Queue(line func(dst []byte) []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		l.stats.Late++
		return false
	case l.gone:
		l.stats.Failed++
		return false
	}
	last := l.last()
	lines := line(*last)
	added := len(lines) - len(*last)
	if l.size+added > l.limit {
		l.stats.Full++
		return false
	}
	*last = lines
	l.size += added
	l.records++
	if l.size >= wakeAt {
		l.work.Signal()
	}
	return true
}

// last is the buffer for the next line.
func (l *Log) last() *[]byte {
	n := len(l.pending)
	if n > 0 && len(l.pending[n-1]) < flushAt {
		return &l.pending[n-1]
	}
	var buffer []byte
	if k := len(l.spare); k > 0 {
		buffer, l.spare = l.spare[k-1], l.spare[:k-1]
	} else {
		buffer = make([]byte, 0, flushAt+room)
	}
	l.pending = append(l.pending, buffer)
	return &l.pending[n]
}

// Flush has the writer write what is queued. It costs next to nothing where nothing is.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) > 0 {
		l.work.Signal()
	}
}

// Reopen makes the log open its file by name again before it writes any record that is not being written already.
// Where that fails the old file is kept and the error reported. Standard output is never reopened.
func (l *Log) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reopen = true
	l.work.Signal()
}

// Broken is closed once the reader has gone; every record is dropped from then on.
func (l *Log) Broken() <-chan struct{} { return l.broken }

// Stats returns the counts so far.
func (l *Log) Stats() LogStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Close writes what waits and closes the destination. When ctx ends first, what is left is dropped and counted as
// late; a reader that stopped in the midst of a line may then be left with its beginning. Closing again does nothing.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closing
	l.closing = true
	l.work.Signal()
	l.mu.Unlock()
	if again {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.records + l.inFlight
	l.abandoned = true
	l.stats.Late += left
	l.pending, l.size, l.records, l.inFlight = nil, 0, 0, 0
	return fmt.Errorf("dropped the last %d records: %s does not take them in time: %w", left, l.dest.name, ctx.Err())
}

func (l *Log) readerGone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.gone {
		l.gone = true
		close(l.broken)
	}
}

// write is the writer: it takes all that waits and writes it in pieces that end with a line.
func (l *Log) write() {
	defer close(l.done)
	defer l.dest.close()
	var batch [][]byte
	for {
		var reopen, more bool
		batch, reopen, more = l.take(batch)
		if reopen {
			if err := l.dest.reopen(); err != nil {
				l.report(err)
			}
		}
		for _, piece := range batch {
			if !l.writePiece(piece) {
				return
			}
		}
		clear(batch) // those that are not for others, after a time when records were waiting
		if !more {
			return
		}
	}
}

// take waits for something to do and swaps what waits for what was written. It returns more as false when nothing will
// come after what it took.
func (l *Log) take(written [][]byte) (batch [][]byte, reopen, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size == 0 && !l.reopen && !l.closing {
		l.work.Wait()
	}
	batch, l.pending = l.pending, written[:0]
	l.inFlight, l.records, l.size = l.records, 0, 0
	reopen, l.reopen = l.reopen, false
	return batch, reopen, !l.closing
}

// writePiece returns false once Close has stopped waiting for it.
func (l *Log) writePiece(piece []byte) bool {
	total := uint64(bytes.Count(piece, newline))
	n, err := l.dest.write(piece)
	written := total
	if n < len(piece) {
		written = uint64(bytes.Count(piece[:n], newline))
	}
	if errors.Is(err, ErrReaderGone) {
		l.readerGone()
	}
	l.mu.Lock()
	if l.abandoned {
		l.mu.Unlock()
		return false
	}
	l.inFlight -= total
	l.stats.Written += written
	l.stats.Failed += total - written
	if len(l.spare) < keepBuffers && cap(piece) <= flushAt+room {
		l.spare = append(l.spare, piece[:0])
	}
	stats, gone := l.stats, l.gone
	l.mu.Unlock()
	if !gone {
		l.reportLoss(stats, err)
	}
	return true
}

// reportLoss tells how many records were lost since it last did, and why.
func (l *Log) reportLoss(stats LogStats, err error) {
	lost := stats.Dropped() - l.reportedAt.Dropped()
	if lost == 0 || !l.reported.IsZero() && l.now().Sub(l.reported) < reportEvery {
		return
	}
	if err == nil {
		err = fmt.Errorf("write to %s: it takes them too slowly", l.dest.name)
	}
	l.reported, l.reportedAt = l.now(), stats
	l.report(fmt.Errorf("dropped %d records: %w", lost, err))
}

var newline = []byte("\n")
