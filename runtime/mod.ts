/** What the runtime offers. Only this file (and `client.ts`, for gateways) is imported from outside the folder. */
export { address, idOf, kindOf, parseAddress, shardOf, numberedShard, SHARDS_DEFAULT } from './address.ts'
export type { ActorAddress, Directory, ShardName } from './address.ts'
export { defineActor } from './actor.ts'
export type {
  Actor,
  ActorDefinition,
  ActorOptions,
  Effect,
  EffectContext,
  EffectsOf,
  EventOf,
  InputOf,
  Intensity,
  Policy,
} from './actor.ts'
export { openClient } from './client.ts'
export type {
  ActorPage,
  ActorSnapshot,
  Answer,
  AskOptions,
  Client,
  FindQuery,
  FoundActor,
  JournalLine,
  Kind,
  ReadFrom,
  SendOptions,
  StateCount,
  StateOf,
  StreamEntry,
} from './client.ts'
export { systemClock, systemRandom } from './clock.ts'
export type { Clock, Random } from './clock.ts'
export type { DeadLetter, DeadLetters, LetterPage } from './dead-letters.ts'
export { faultOf, RuntimeError } from './errors.ts'
export type { Fault, Remedy, RuntimeErrorCode } from './errors.ts'
export { RuntimeEvents } from './events.ts'
export type { RuntimeEvent, RuntimeEventOf } from './events.ts'
export { actorOf } from './handle.ts'
export type { ActorHandle } from './handle.ts'
export type { Health } from './health.ts'
export type { Json } from './json.ts'
export { LIMITS } from './limits.ts'
export type { Limits } from './limits.ts'
export { Node } from './node.ts'
export type { NodeOptions } from './node.ts'
export { ref, telling } from './ref.ts'
export type { ActorRef, EventFor, InputFor } from './ref.ts'
export type { Scheduled } from './scheduling.ts'
export { inspectRedis } from './redis/connection.ts'
export { MemoryServer } from './memory/server.ts'
export { redisTransport } from './transports/redis.ts'
export type { Transport } from './transport.ts'
export { vocabulary } from './vocabulary.ts'
export type { Later, Schedule, Spawn, Tell, Unschedule, Watch } from './vocabulary.ts'
