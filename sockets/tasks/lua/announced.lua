-- ARGV  9 task
remember(ARGV[9])
forget_old()
return 1
