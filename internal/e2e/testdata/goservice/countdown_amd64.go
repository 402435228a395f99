package main

func countDown(from uint64)
