/**
 * `multipart/form-data` (RFC 7578) as it comes: fields are kept, files are handed on while they are read, so that a file
 * of any size passes through in a few kilobytes. Deno has the two Node modules too.
 */
import { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import busboy from '@fastify/busboy'
import { LIMITS } from './limits.ts'
import { GatewayError } from './problems.ts'

export interface Part {
  /** Of the form's field. */
  readonly field: string
  /** As its sender calls the file. */
  readonly name: string
  readonly bytes: AsyncIterable<Uint8Array>
}

/** Reads the form; `take` is given one file after another. Gives the fields. Throws `body.malformed`, `body.too-large`. */
export async function readForm(
  request: Request,
  take: (part: Part) => Promise<void>,
): Promise<ReadonlyMap<string, string>> {
  const fields = new Map<string, string>()
  const contentType = request.headers.get('content-type') ?? ''
  if (request.body === null) throw malformed('it is empty')
  let parser: InstanceType<typeof busboy.default>
  try {
    parser = new busboy.Busboy({
      headers: { 'content-type': contentType },
      limits: { fields: 20, fieldSize: LIMITS.specBytesMax, files: LIMITS.uploadFilesMax, fieldNameSize: 100 },
    })
  } catch (cause) {
    throw malformed(cause instanceof Error ? cause.message : 'its boundary is missing', cause)
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const taken: Promise<void>[] = []
  const files: Readable[] = []
  const fail = (error: unknown): void => {
    body.destroy()
    // The parser would leave who reads a file waiting for its end, which does not come any more.
    for (const file of files) file.destroy()
    reject(error as Error) // Error or what a caller threw: handed on as it is
  }
  // The web stream is the same class under two names of types.
  const body = Readable.fromWeb(request.body as NodeReadableStream)
  parser.on('field', (name, value, _nameTruncated, valueTruncated) => {
    if (valueTruncated)
      fail(new GatewayError('body.too-large', `Cannot take a field of more than ${LIMITS.specBytesMax} bytes`))
    fields.set(name, value)
  })
  parser.on('file', (field, stream, name) => {
    files.push(stream)
    const done = take({ field, name, bytes: stream })
    taken.push(done)
    done.catch(fail)
  })
  parser.on('filesLimit', () =>
    fail(new GatewayError('body.too-large', `Cannot take more than ${LIMITS.uploadFilesMax} files`)),
  )
  parser.on('fieldsLimit', () => fail(malformed('it has too many fields')))
  parser.on('finish', () => resolve())
  parser.on('error', (cause) => fail(malformed(cause instanceof Error ? cause.message : 'it is no form', cause)))
  body.on('error', (cause) => fail(malformed('it ended early', cause)))
  body.pipe(parser)
  try {
    await promise
    await Promise.all(taken)
    return fields
  } finally {
    await Promise.allSettled(taken)
  }
}

function malformed(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('body.malformed', `Cannot read the body as multipart/form-data: ${reason}`, { cause })
}
