/** The log of a job of any kind, as an answer. */
import { z } from 'zod'
import type { LogLine } from '../machines/views.ts'
import type { Context } from './api.ts'
import { logsStream } from './job-address.ts'
import { logLineSchema } from './schemas/views.ts'
import type { Services } from './services.ts'

/** What a route says of itself that answers with a log. */
export const LOG_OPERATION = {
  method: 'get',
  summary: 'The lines of a job’s log that are kept, oldest first.',
  access: 'viewer',
  answers: {
    200: {
      description: 'JSON, or plain text where `Accept` asks for it.',
      content: { 'application/json': z.object({ items: z.array(logLineSchema) }), 'text/plain': 'text' },
    },
  },
} as const

export async function answerWithLog(c: Context, services: Services, id: string): Promise<Response> {
  const items: LogLine[] = []
  const options = { signal: c.get('signal'), follow: false }
  for await (const entry of services.client.stream(logsStream(id), 'oldest', options)) {
    if ('gap' in entry) continue // only the lines that are kept are promised
    const line = logLineSchema.safeParse(entry.data)
    if (line.success) items.push(line.data)
    else services.trouble(`the log of job ${id}`, line.error)
  }
  if (!(c.req.header('accept') ?? '').includes('text/plain')) return c.json({ items })
  return c.text(items.map(logText).join(''))
}

function logText({ at, level, source, message }: LogLine): string {
  return `${new Date(at).toISOString()} ${level.padEnd(5)} ${source}: ${message}\n`
}
