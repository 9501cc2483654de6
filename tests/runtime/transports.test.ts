import { SHARDS_DEFAULT } from '../../runtime/address.ts'
import { MemoryServer } from '../../runtime/transports/memory.ts'
import { redisTransport } from '../../runtime/transports/redis.ts'
import { transportContract } from '../contracts/transport.ts'
import { has } from '../harness/parts.ts'
import { TestRedis } from '../harness/redis.ts'

transportContract('memory', true, async () => {
  const server = new MemoryServer()
  return {
    async connect(shards = SHARDS_DEFAULT) {
      const transport = server.connect()
      await transport.start({ shards })
      return transport
    },
    async stop() {},
  }
})

transportContract('Redis', has('redis'), async () => {
  const redis = await TestRedis.start()
  return {
    async connect(shards = SHARDS_DEFAULT) {
      const transport = redisTransport({ url: redis.url })
      await transport.start({ shards })
      return transport
    },
    stop: () => redis.stop(),
  }
})
