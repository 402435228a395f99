module gowork

go 1.20
