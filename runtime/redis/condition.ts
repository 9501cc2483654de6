/** What is amiss with servers that answer: from their own reports to words for a person. */
import { RuntimeError } from '../errors.ts'
import type { ServerReport } from './connection.ts'

const VERSION_MIN = [7, 0] as const
/** From here on it will soon refuse what makes it grow. */
const MEMORY_HIGH = 0.95

/** Null when nothing is. */
export function amiss(reports: readonly ServerReport[]): string | null {
  const all = reports.flatMap((each) =>
    ('error' in each ? [`does not answer: ${each.error.message}`] : wrongWith(each.info)).map((wrong) =>
      reports.length === 1 ? `Redis ${wrong}` : `Redis at ${each.place} ${wrong}`,
    ),
  )
  return all.length === 0 ? null : all.join('; ')
}

function wrongWith(info: Readonly<Record<string, string>>): string[] {
  const wrong: string[] = []
  const [used, max] = [Number(info['used_memory'] ?? 0), Number(info['maxmemory'] ?? 0)]
  const policy = info['maxmemory_policy'] ?? 'noeviction'
  if (max > 0 && policy.startsWith('allkeys')) {
    wrong.push(`may drop what actors rest on: maxmemory-policy is ${policy}, expected noeviction`)
  } else if (max > 0 && used >= max * MEMORY_HIGH) {
    wrong.push(`is full: it uses ${megabytes(used)} of ${megabytes(max)} (maxmemory), and refuses what makes it grow`)
  }
  if (info['role'] === 'slave') wrong.push('is a replica and takes no writes')
  if (info['loading'] === '1') wrong.push('is loading its data')
  if (info['aof_last_write_status'] === 'err') wrong.push('cannot write its append-only file')
  if (info['rdb_last_bgsave_status'] === 'err') wrong.push('cannot write its snapshot')
  return wrong
}

/** Throws `redis.too-old`. */
export function checkVersions(reports: readonly ServerReport[]): void {
  for (const each of reports) {
    const found = ('info' in each ? each.info['redis_version'] : undefined) ?? 'unknown'
    const [major = 0, minor = 0] = found.split('.').map(Number)
    if ('error' in each || major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1])) continue
    throw new RuntimeError(
      'redis.too-old',
      `Redis ${VERSION_MIN.join('.')} or newer is needed; ${each.place} is ${found}`,
      {
        remedy: 'give-up',
        data: { expected: VERSION_MIN.join('.'), found },
      },
    )
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`
}
