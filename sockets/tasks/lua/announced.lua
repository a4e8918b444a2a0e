-- ARGV  8 task
remember(ARGV[8])
forget_old()
return 1
