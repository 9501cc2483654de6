/** Every maximum and waiting time of the gateway, and how they must stand to each other. */
export const LIMITS = {
  /** A job's specification. An envelope of the runtime holds as much, so what is over both is refused here, early. */
  specBytesMax: 1_048_576,
  /** A body of a few fields. */
  smallBytesMax: 16_384,
  predictBytesMax: 32 * 1_048_576,
  predictRowsMax: 10_000,
  /** All files of one upload; the disk may have room for less. */
  uploadBytesMax: 256 * 1024 ** 3,
  uploadFilesMax: 1_000,
  /** Errors listed in one problem; more help nobody. */
  errorsMax: 100,

  pageDefault: 50,
  pageMax: 200,

  /** A request that is not a stream gets its answer within this time, if only that there is none. */
  requestMs: 30_000,
  askMs: 10_000,

  /** Streams of events that one gateway serves at once. */
  eventStreamsMax: 1_000,
  /** Frames that wait for one client before its sources are held back. */
  eventQueueMax: 256,
  /** A job that changes more often than this is shown as it is then. */
  eventStateMs: 100,
  /** A client that takes nothing for so long while its queue is full is dropped. */
  eventStallMs: 30_000,
  /** Proxies cut a connection that is silent for a minute or less; a comment goes at least so often. */
  heartbeatMs: 10_000,
  /** What `retry:` tells a client to wait before it connects again. */
  reconnectMs: 2_000,

  tokenCacheMax: 10_000,
  tokenCharsMax: 8_192,
  loginTokensMax: 10_000,
  sessionMs: 12 * 3_600_000,
  /** How long a stop waits for requests under way before it cuts them. */
  stopMs: 5_000,
} as const

export type GatewayLimits = { readonly [Name in keyof typeof LIMITS]: number }

/** Throws when a set of limits contradicts itself. */
export function checkLimits(limits: GatewayLimits): GatewayLimits {
  const rules: [boolean, string][] = [
    [limits.heartbeatMs <= 15_000, 'heartbeatMs must be at most 15 seconds'],
    [limits.askMs < limits.requestMs, 'askMs must be below requestMs'],
    [limits.pageDefault <= limits.pageMax, 'pageDefault must not exceed pageMax'],
    [limits.specBytesMax <= limits.predictBytesMax, 'specBytesMax must not exceed predictBytesMax'],
  ]
  const broken = rules.filter(([holds]) => !holds).map(([, rule]) => rule)
  if (broken.length > 0) throw new RangeError(broken.join('; '))
  return limits
}

checkLimits(LIMITS)
