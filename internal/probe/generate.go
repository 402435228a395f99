package probe

//go:generate go tool bpf2go -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -mcpu=v3" -type event -type frame -type stack_event -type code_event -type scope_event -type text -type thread_event -type conn_event -type io_event -type go_event -type serve_event -type go_layout -type event_kind -type loss -type io_flag -type stack_status -type py_layout -type py_types -type await_told_by -type stack_size -type read_size -type scopes_for -type life -type tls_sight -type awaited -type runtime apm ../../bpf/apm.bpf.c
