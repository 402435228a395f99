module parked

go 1.20
