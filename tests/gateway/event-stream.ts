/** Reads server-sent events as a client does (HTML Standard, 9.2.6): enough of it for what the gateway writes. */
export interface ReceivedEvent {
  readonly event: string
  readonly data: unknown
  readonly id: string | undefined
}

export class EventStream implements AsyncDisposable {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  readonly #events: ReceivedEvent[] = []
  #text = ''
  #lastId: string | undefined
  /** Comments that arrived. */
  heartbeats = 0

  constructor(response: Response) {
    if (response.status !== 200 || response.body === null) throw new Error(`No stream: ${response.status}`)
    this.#reader = response.body.getReader()
  }

  get lastId(): string | undefined {
    return this.#lastId
  }

  /** The next event, or undefined at the end of the stream. */
  async next(): Promise<ReceivedEvent | undefined> {
    for (;;) {
      const event = this.#events.shift()
      if (event !== undefined) {
        this.#lastId = event.id ?? this.#lastId
        return event
      }
      if (!(await this.#read())) return undefined
    }
  }

  /** Events up to and with the first that the condition accepts. */
  async until(condition: (event: ReceivedEvent) => boolean): Promise<ReceivedEvent[]> {
    const events: ReceivedEvent[] = []
    for (;;) {
      const event = await this.next()
      if (event === undefined) return events
      events.push(event)
      if (condition(event)) return events
    }
  }

  async rest(): Promise<ReceivedEvent[]> {
    return this.until(() => false)
  }

  async heartbeat(): Promise<void> {
    const before = this.heartbeats
    while (this.heartbeats === before && (await this.#read()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader.cancel()
  }

  async #read(): Promise<boolean> {
    const { value, done } = await this.#reader.read()
    if (done) return false
    const blocks = (this.#text + this.#decoder.decode(value, { stream: true })).split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) this.#take(block)
    return true
  }

  #take(block: string): void {
    if (block.startsWith(':')) {
      this.heartbeats++
      return
    }
    const fields = new Map(
      block.split('\n').map((line) => {
        const colon = line.indexOf(': ')
        return [line.slice(0, colon), line.slice(colon + 2)]
      }),
    )
    const event = fields.get('event')
    if (event === undefined) return // `retry:` alone
    this.#events.push({ event, data: JSON.parse(fields.get('data') ?? 'null'), id: fields.get('id') })
  }
}
