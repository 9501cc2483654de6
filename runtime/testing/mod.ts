/**
 * The testing kit: your own actors on the real runtime, with time that you move. Two hours pass in milliseconds, nothing
 * needs Redis, and the same test runs the same way each time.
 *
 *     await using world = await createTestWorld({ actors: [orderActor], effects: { order: { charge: async () => 'ok' } } })
 *     const order = world.actor(orderActor, '42')
 *     await order.spawn({ item: 'book' })
 *     await order.ask({ type: 'checkout' })
 *     await world.advance('30 min')
 *     expect((await order.read())?.value).toBe('expired')
 *
 * What runs is what runs in production: the same shards, commits, timers and effects, over the transport in memory.
 * Only the clock, the randomness and, where you say so, the effects are other ones.
 */
export { createTestWorld, TestWorld } from './world.ts'
export type { TestActor, TestWorldOptions } from './world.ts'
export { SeededRandom } from './seeded-random.ts'
export { settle, VirtualClock, VIRTUAL_START_MS } from './virtual-clock.ts'
export { durationMs } from './duration.ts'
export type { Duration } from './duration.ts'
