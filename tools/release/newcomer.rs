//! What a stranger writes first, with the published packages alone: a network with ten outputs, its
//! kernel on real images, leading eigenpairs with their certificate, and both as files.

use entk::prelude::*;

fn main() -> Result<(), Error> {
    let (split, _) = embedded()?.standardized()?;
    let sample = split.train.stratified_subset(200, 0)?;

    let layers = Sequential::new()
        .then(Conv2d::new("conv", 1, 8, 3).with_stride(2))
        .then(Activation::Gelu)
        .then(AvgPool2d::new(2))
        .then(Flatten)
        .then(Dense::new("head", 8 * 7 * 7, 10));
    let network = Network::new(&[1, 28, 28], layers)?;
    println!("{network}");
    let theta = network.init(0, DType::F32, &Device::Cpu)?;

    let images = sample.images().tensor();
    let kernel = gram(&network, &theta, images, &GramConfig::default())?;
    println!("{kernel}");
    let full = GramConfig { outputs: Outputs::Full, ..GramConfig::default() };
    println!("{}", gram(&network, &theta, &images.narrow(0, 0, 20)?, &full)?);

    let top = eigsh(&kernel, 12, &EigshConfig::default())?;
    println!("{top}");

    let folder = std::env::temp_dir().join(format!("newcomer-{}", std::process::id()));
    entk::device::files::create_folder(&folder).expect("a folder for results");
    kernel.save(folder.join("gram.npy"))?;
    top.pairs.save(folder.join("top.safetensors"))?;
    assert_eq!(Gram::load(folder.join("gram.npy"))?, kernel);
    assert_eq!(Eigenpairs::load(folder.join("top.safetensors"))?, top.pairs);
    entk::device::files::remove_folder(&folder).expect("the folder to be removed");
    println!("saved and loaded, bit for bit");
    Ok(())
}
