# Threads, strings, hashes, big numbers, garbage collections with compaction, and a fork.
threads = 4.times.map do |n|
  Thread.new do
    words = Hash.new(0)
    60_000.times { |i| words["word#{(i * 7919 + n) % 1009}" * (i % 4 + 1)] += 1 }
    lists = 2000.times.map { |i| Array.new(i % 100) { |j| "#{i}:#{j}" } }
    [words.size, words.values.sum, lists.flatten.join.size]
  end
end
p threads.map(&:value)
p (1..600).inject(:*).to_s.size
p 3.times.map { |i| GC.start(full_mark: true); i }
text = (0..50_000).map(&:to_s).join(' ')
p text.scan(/\b\d*7\d*\b/).size, text.gsub(/1+/) { |ones| 'x' * ones.size }.count('x')
fibers = 300.times.map { |i| Fiber.new { 3.times { |j| Fiber.yield i * j }; i } }
p fibers.sum { |fiber| 4.times.sum { fiber.resume } }
$stdout.flush
pid = fork { puts (1..20_000).map { |i| [i.to_s.reverse, i] }.to_h.size }
Process.wait pid
p $?.success?
