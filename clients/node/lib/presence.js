/** How one instance makes itself known: registration, heartbeats, health, farewell. */
import { MessagingError, PublishUncertain } from './errors.js';

export class Presence {
  #timer;
  /** Rows of the flow that were taken, and not told yet. */
  #flow = [];
  #beganAt = Date.now();

  /** @param {import('../bus.js').Bus} bus */
  constructor(bus) {
    this.bus = bus;
    const senders = [bus.gateway];
    bus.handlers.add('service.health.check', () => this.health(), { isBuiltIn: true });
    bus.handlers.add('service.registered', (data) => this.#registered(data), { isBuiltIn: true, senders });
    bus.handlers.add('service.registration.wanted', (data) => this.#wanted(data), { isBuiltIn: true, senders });
  }

  /** Register, and send heartbeats from now on. Call it when messages are being consumed. */
  async start() {
    await this.#register();
    this.#timer = setInterval(() => this.#announce(), this.bus.heartbeatSeconds * 1000);
  }

  /** Send no more heartbeats, and deregister. */
  async stop() {
    clearInterval(this.#timer);
    const data = { name: this.bus.service, id: this.bus.instanceId };
    await this.#try('deregister', () => this.#tellWithFlow('service.deregister', data, {}, true));
  }

  /** What heartbeats and the answer to a health check say. */
  async health() {
    const { bus } = this;
    return {
      name: bus.service,
      id: bus.instanceId,
      version: bus.version,
      status: 'UP',
      uptime_seconds: (Date.now() - this.#beganAt) / 1000,
      load: bus.receiver.load(),
      checks: await bus.checks(),
    };
  }

  #where() {
    const { bus } = this;
    return {
      name: bus.service,
      id: bus.instanceId,
      version: bus.version,
      host: bus.host,
      port: bus.port,
      healthEndpoint: bus.healthEndpoint,
    };
  }

  async #register() {
    const { bus } = this;
    const data = {
      ...this.#where(),
      routes: bus.routes,
      handles: bus.handlers.types(),
      subscriptions: bus.handlers.patterns(),
      schemas: bus.schemas,
      metadata: { pid: process.pid, node: process.version, ...bus.metadata },
    };
    await this.#try('register', () => bus.send(bus.gateway, 'service.register', data, { priority: 'HIGH' }));
  }

  async #announce() {
    await this.#try('announce', async () => {
      const data = { ...this.#where(), ...(await this.health()) };
      await this.#tellWithFlow('service.announce', data, { expiresIn: this.bus.suspectSeconds });
    });
  }

  async #tellWithFlow(type, data, options, isLast = false) {
    if (this.#flow.length === 0) this.#flow = this.bus.flow.take(isLast);
    const flow = this.#flow.length > 0 ? { flow: this.#flow } : {};
    try {
      await this.bus.send(this.bus.gateway, type, { ...data, ...flow }, { priority: 'HIGH', ...options });
    } catch (error) {
      if (error instanceof PublishUncertain) this.#flow = []; // rather missing than there twice
      throw error;
    }
    this.#flow = [];
  }

  async #try(what, act) {
    try {
      await act();
    } catch (error) {
      // The next heartbeat tells; the registry shows SUSPECT meanwhile, as it should.
      if (error instanceof MessagingError) this.bus.log.warn(`could not ${what}: ${error.message}`);
      else this.bus.log.error(`could not ${what}:`, error);
    }
  }

  #registered(data) {
    this.bus.log.info(`${this.bus.service} is registered: ${data.state}`);
    for (const route of data.refused ?? []) {
      this.bus.log.warn(`the gateway refused the route ${route.path}: ${route.reason}`);
    }
  }

  async #wanted(data) {
    // Any instance may get this. The one that is meant is asked again until it registers.
    if (data.id === this.bus.instanceId) await this.#register();
  }
}

