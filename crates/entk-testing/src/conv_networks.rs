//! Networks of convolutions that are not plain: dilated, in groups, of signals, transposed. Called
//! by the list of networks.

use entk_models::{
    Activation, Conv1d, Conv2d, ConvTranspose2d, Dense, Flatten, GlobalMean, Network, Padding,
    Result, Sequential,
};

/// Taps far apart: on so few pixels that pairs of pixels are cheaper than rows, and on many.
pub(crate) fn dilated() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("conv1", 1, 24, [3, 2]).with_dilation([2, 3]))
        .then(Activation::Gelu)
        .then(Conv2d::new("conv2", 24, 19, 3).with_dilation(3).with_stride([3, 4]))
        .then(Activation::Tanh)
        .then(Conv2d::new("conv3", 19, 70, 3).with_dilation([2, 1]).without_bias())
        .then(Flatten)
        .then(Dense::new("fc", 70 * 3 * 2, 1));
    Network::new(&[1, 8, 7], layers)
}

/// A depthwise convolution between two pointwise ones, and one in groups of many channels.
pub(crate) fn grouped() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv2d::new("expand", 2, 12, 1))
        .then(Activation::Relu6)
        .then(Conv2d::new("depthwise", 12, 12, 3).with_groups(12).with_stride(2).with_padding(1))
        .then(Activation::Relu6)
        .then(Conv2d::new("project", 12, 8, 1).without_bias())
        .then(Conv2d::new("groups", 8, 12, [3, 1]).with_groups(2).without_bias())
        .then(Activation::Gelu)
        .then(GlobalMean)
        .then(Dense::new("head", 12, 2));
    Network::new(&[2, 7, 6], layers)
}

/// Signals, of which neighbouring samples are convolved, dilated and by channel.
pub(crate) fn signals() -> Result<Network> {
    let layers = Sequential::new()
        .then(Conv1d::new("conv1", 2, 5, 4).with_stride(2).with_padding(1))
        .then(Activation::Tanh)
        .then(Conv1d::new("conv2", 5, 10, 3).with_groups(5).with_dilation(2))
        .then(Activation::Gelu)
        .then(Conv1d::new("conv3", 10, 3, 3).with_padding(Padding::Valid))
        .then(Flatten)
        .then(Dense::new("head", 3 * 4, 1));
    Network::new(&[2, 13], layers)
}

/// From few pixels to more: pairs of pixels, rows in parts and rows, and one in groups.
pub(crate) fn transposed() -> Result<Network> {
    let layers = Sequential::new()
        .then(ConvTranspose2d::new("up1", 30, 24, 3).with_stride(2).with_padding(1))
        .then(Activation::Gelu)
        .then(ConvTranspose2d::new("up2", 24, 20, [2, 3]).with_stride([2, 1]))
        .then(Activation::Tanh)
        .then(
            ConvTranspose2d::new("up3", 20, 6, 3)
                .with_stride(2)
                .with_padding([0, 1])
                .with_output_padding([0, 1])
                .with_dilation([1, 2])
                .with_groups(2),
        )
        .then(ConvTranspose2d::new("up4", 6, 2, 3).without_bias())
        .then(GlobalMean)
        .then(Dense::new("fc", 2, 1));
    Network::new(&[30, 2, 2], layers)
}
