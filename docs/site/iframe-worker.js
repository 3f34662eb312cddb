// Browsers start no worker from a page that was opened from a disk, and the search wants one: there, a hidden frame takes
// its place. Elsewhere nothing changes.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.onmessage = this.onerror = null;
      this.receive = (event) => {
        if (event.source !== this.frame.contentWindow) return;
        const copy = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(copy);
        if (this.onmessage) this.onmessage(copy);
      };
      window.addEventListener("message", this.receive);
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }));
      const head = "<script>self.postMessage = (data) => parent.postMessage(data, '*')<\/script>";
      this.frame.srcdoc = `${head}<script src="${new URL(url, location.href)}"><\/script>`;
      document.body.appendChild(this.frame);
    }
    postMessage(data) {
      // The frame's own function is that of a worker, which answers.
      this.ready.then(() => window.postMessage.call(this.frame.contentWindow, data, "*"));
    }
    terminate() {
      window.removeEventListener("message", this.receive);
      this.frame.remove();
    }
  };
}
